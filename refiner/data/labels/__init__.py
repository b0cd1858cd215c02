"""Labels of images: records, tables, gaze angles, geometry, regions and drift."""

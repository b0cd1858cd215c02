"""Image files and arrays: reading, writing, resizing, blurring, registration."""

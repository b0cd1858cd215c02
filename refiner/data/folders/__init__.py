"""Contents of a folder of images: its files, label images and other files beside images, and what is left out."""

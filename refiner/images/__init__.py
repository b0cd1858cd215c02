"""Image files and arrays: read, write, resize, blur, register."""

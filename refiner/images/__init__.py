"""Image files and arrays: read, write, resize, equalise, blur."""

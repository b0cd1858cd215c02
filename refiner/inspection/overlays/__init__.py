"""Labels drawn over their images: shapes, their paint, and contact sheets."""

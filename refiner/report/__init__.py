"""The report: one self-contained HTML page on a refiner, and a visual Turing test."""

"""Small networks that learn the labels of renders, to test refined renders on real labels of any kind."""

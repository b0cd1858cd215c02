"""What a data set, a run or a refiner file is, and what looks wrong with it; whether two data sets fit each other."""

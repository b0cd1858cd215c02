"""Networks, and the refiner file that holds one."""

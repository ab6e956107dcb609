print("coldstream")

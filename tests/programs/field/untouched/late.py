print("the late module is loaded", flush=True)
value = 1

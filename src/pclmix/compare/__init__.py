"""The methods: what each is to the loop (base), one file a method, and the registry of names."""

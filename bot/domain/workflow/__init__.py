"""DeepSquare job documents: types, templates, and the bash script of one."""

"""DeepSquare job documents: types, templates, and rendering to bash."""

"""Tables of radiographs, splits by patient, and PyTorch datasets on top of them."""

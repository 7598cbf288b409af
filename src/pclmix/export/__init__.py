"""A trained model for programs that do not know pclmix: an ONNX file, or a MONAI bundle."""

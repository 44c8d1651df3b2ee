"""Numbers that the ImageNet weights come with."""

#: Mean and standard deviation of ImageNet's RGB channels on the 0-1 scale, as torchvision's weights use them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

#: EfficientNet-Lite's ``(x - 127) / 128`` of 8-bit values (TensorFlow's ``efficientnet_lite_builder.py``).
LITE_MEAN = (127.0 / 255.0,) * 3
LITE_STD = (128.0 / 255.0,) * 3

// Channels of an image. A constant, so that one channel costs no loop and no product.
override CHANNELS: u32;

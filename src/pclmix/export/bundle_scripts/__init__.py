"""What an exported bundle does beyond MONAI: these files are copied into each bundle and know nothing of pclmix."""

from scanline.cli import main

main()

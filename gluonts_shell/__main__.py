import sys

from gluonts_shell.cli import main

sys.exit(main())

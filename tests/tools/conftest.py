import sys
from pathlib import Path

# Modules that tests share, and the processes they start, are imported from here.
sys.path.insert(0, str(Path(__file__).parent))

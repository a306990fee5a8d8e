import sys
from pathlib import Path

# Modules that tests, and the processes they start, import.
sys.path.insert(0, str(Path(__file__).parent))

import sys
from pathlib import Path

# The plain evaluation and the distributed worker are modules that tests, and the processes they start, import.
sys.path.insert(0, str(Path(__file__).parent))

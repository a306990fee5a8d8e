"""Break-downs, reports and saved predictions."""

"""Who calls: from what a caller shows to a principal with his grants."""

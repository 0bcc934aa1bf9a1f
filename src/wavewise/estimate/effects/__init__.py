"""Average effects by least squares, their covariances, and effects on compliers."""

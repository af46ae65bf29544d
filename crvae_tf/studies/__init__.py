"""Many runs: tables beside the paper's, comparisons, pictures and pages."""

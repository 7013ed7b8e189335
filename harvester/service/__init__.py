"""The running harvest: reads open tasks and carries out what the domain decides."""

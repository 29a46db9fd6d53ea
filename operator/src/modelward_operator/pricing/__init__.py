"""What a pod costs on its node. Pure: facts in, integers of nano units out."""

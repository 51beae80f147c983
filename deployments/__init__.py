"""How reelmill is run: the command, pools, deployments and their templates."""

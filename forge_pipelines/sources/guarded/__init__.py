"""Files are read in processes of their own, with limits: none can crash, stop or fill the process that asks."""

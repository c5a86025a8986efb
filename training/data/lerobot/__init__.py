"""LeRobotDataset v3: recorded episodes as a dataset that LeRobot loads, and back.

`layout` names files, columns and types; `rows` makes the columns of an episode, `language` those of words; `pictures`
packs frames into videos and reads them; `statistics` counts; `export` writes a dataset, `load` reads one. Nothing here
imports lerobot: the format is parquet, MP4 and JSON.
"""

"""Text that headers are likely to hold, as a preset dictionary for their compression.

It is part of format version 8 and never changes: settings that came later, or have other values, take a few bytes more.
"""

DICTIONARY = (
    b'"bitrate":,"target_psnr":,"colours":"on","off","poses":"frame_step":2,'
    b'"part_length":"picture_memory":"pieces":[[0,1,"background":[0,0,0],false,true,null,"coefficients":48,'
    b'"inter_iterations":5000,"key_iterations":12000,"level_nodes":[32,64,128],"occupancy_cells":128,'
    b'"preset":"placebo","rays":3072,"steps_per_side":512,"coefficients":40,"inter_iterations":2500,'
    b'"key_iterations":5000,"level_nodes":[32,56,96],"occupancy_cells":96,"preset":"slow","rays":2048,'
    b'"steps_per_side":384,"coefficients":20,"inter_iterations":200,"key_iterations":400,"level_nodes":[16,24,40],'
    b'"occupancy_cells":48,"preset":"ultrafast","rays":768,"steps_per_side":96,"inter_iterations":600,'
    b'"key_iterations":1200,"level_nodes":[24,40,64],"preset":"fast","rays":1024,"steps_per_side":192,'
    b'{"appearance":7,"background":[255,255,255],"basis_step":0.4,"coefficient_step":0.4,"coefficients":32,'
    b'"colour_hidden":64,"final_rate":0.1,"grid_rate":0.2,"inter_iterations":1200,"inter_rate":1.0,"joint":true,'
    b'"key_iterations":2500,"key_lambda":0.7,"keyint":0,"lambda_rate":0.0005,"lambda_residual":0.0,'
    b'"level_channels":[4,4,4],"level_frequencies":[1.0,1.0,1.0],"level_nodes":[24,48,80],"mlp_rate":0.02,'
    b'"mlp_step":0.03125,"motion_blocks":8,"nodes_per_pixel":0.5,"occupancy_cells":64,"preset":"medium",'
    b'"projection_hidden":64,"random_background":true,"rate_model":"context","rays":1536,"rising":0.075,'
    b'"rounding_from":0.6,"scenecut":true,"seed":0,"steps_per_side":256,"view_frequencies":3,'
    b'"whole_coefficients":false}taichi_vvc 0.1.0'
)
"""Settings of all presets, and the name of the library. Normative text: ``docs/bitstream.md``, section 2.1."""

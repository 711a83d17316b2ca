"""Pictures, videos, masks, charts, and measures of picture quality.

``media/images.py`` reads pictures as RGBA with straight alpha and reduces them; ``media/mattes.py`` finds out what the
pixel values of a mask mean. ``media/video.py`` writes pictures, depth maps and videos. ``media/metrics.py`` has PSNR
and SSIM, ``media/charts.py`` small SVG charts. The room imports ``geometry/``, ``types`` and ``errors``; it knows
nothing of captures, fields and streams.
"""

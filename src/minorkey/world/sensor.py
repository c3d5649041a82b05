"""Between the light and the file: rain and snow in the air, glare, bloom, blur, tone and sensor noise."""

from functools import cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from minorkey.world.domains import Domain

GRAINS = 1 << 21


@cache
def _grain() -> np.ndarray:
    """(GRAINS,) float32 normal noise, read from random places."""
    return np.random.default_rng(20240302).standard_normal(GRAINS, np.float32)


def develop(light: np.ndarray, size: tuple[int, int], domain: Domain, rng: np.random.Generator) -> np.ndarray:
    """An image (height, width, 3) uint8 from light (3, N); display value = sqrt(light)."""
    display = light * np.float32(rng.uniform(0.85, 1.15))
    np.sqrt(np.clip(display, 0, 1, out=display), out=display)
    display *= 255
    bands = display.astype(np.uint8).reshape(3, size[1], size[0])
    image = Image.merge("RGB", [Image.fromarray(band) for band in bands])
    if domain.saturation < 1:
        image = Image.blend(image.convert("L").convert("RGB"), image, domain.saturation)
    if domain.lights > 0.5 or domain.veil:
        image = _bloom(image, domain)
    if domain.rain or domain.flakes:
        _fall(image, domain, rng)
    if domain.blur:
        image = image.filter(ImageFilter.BoxBlur(domain.blur * size[0] / 256))
    return _noisy(np.asarray(image), domain.noise * 255, rng)


def _noisy(image: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Add normal noise of standard deviation `level` in grey values."""
    start = int(rng.random() * GRAINS / 2)
    grain = _grain()[start : start + image.size]
    if len(grain) < image.size:
        grain = np.resize(grain, image.size)
    noisy = image + grain.reshape(image.shape) * np.float32(level)
    return np.clip(noisy, 0, 255, out=noisy).astype(np.uint8)


def _bloom(image: Image.Image, domain: Domain) -> Image.Image:
    """Light spilling from the bright parts; with a veil over everything when driving into the sun."""
    small = image.reduce(8)
    spread = np.asarray(small.filter(ImageFilter.GaussianBlur(1.5)), np.float32)
    light = (np.square(spread) * ((0.25 + 0.45 * domain.veil) / 255)).astype(np.uint8)
    halo = Image.fromarray(light).resize(image.size, Image.Resampling.BILINEAR)
    return ImageChops.screen(image, halo)


def _fall(image: Image.Image, domain: Domain, rng: np.random.Generator) -> None:
    """Streaks of rain, or flakes."""
    draw = ImageDraw.Draw(image, "RGBA")
    width, height = image.size
    n = 80 if domain.rain else 130
    at = rng.random((n, 4))
    slant = rng.uniform(-0.25, 0.25)
    for x, y, near, shade in at.tolist():
        x, y, alpha = x * width, y * height, int(50 + 70 * shade)
        if domain.rain:
            length = height * (0.03 + 0.10 * near)
            draw.line((x, y, x + slant * length, y + length), fill=(205, 212, 222, alpha))
        else:
            radius = width / 256 * (0.3 + 1.3 * near**3)
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(245, 247, 250, alpha + 110))

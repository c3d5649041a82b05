"""Between the light and the file: rain and snow in the air, glare, bloom, blur, tone and sensor noise."""

from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from minorkey.world.domains import Domain

GRAINS = 1 << 20
WARMTH = ([value * 15 // 16 for value in range(256)], [value * 13 // 16 for value in range(256)])
"""Of the green and the blue of a halo, as tables."""

VARIANTS = 4
"""Pictures of falling rain or snow, of which each image shows a part."""


@cache
def _grains(level: float) -> np.ndarray:
    """(GRAINS,) int16 normal noise of standard deviation `level` in grey values, read from random places."""
    noise = np.random.default_rng(20240302).standard_normal(GRAINS, np.float32)
    return np.rint(noise * np.float32(level)).astype(np.int16)


def develop(
    light: np.ndarray, order: np.ndarray, size: tuple[int, int], domain: Domain, rng: np.random.Generator
) -> np.ndarray:
    """An image (height, width, 3) uint8 from light (3, N) of the pixels `order`; display value = sqrt(light).

    From the tone on, all is done in whole grey values: 16 bits hold twice as many at a time as 32.
    """
    toned = _toned(light * np.float32(rng.uniform(0.85, 1.15) * 255**2), order, size, domain.saturation)
    image = np.asarray(toned).astype(np.int16)
    if domain.rain or domain.flakes:
        _fall(image, domain, rng)
    if domain.blur:
        image = _blurred(_blurred(image, domain.blur * size[0] / 256, 0), domain.blur * size[0] / 256, 1)
    if domain.lights > 0.5 or domain.veil:
        _lay_over(image, 255, _halo(toned, 0.25 + 0.45 * domain.veil))
    image += _grain(domain.noise * 255, image.shape, rng)
    return np.clip(image, 0, 255, out=image).astype(np.uint8)


def _toned(display: np.ndarray, order: np.ndarray, size: tuple[int, int], saturation: float) -> Image.Image:
    """The square root of light (3, N), overwritten, at the places of its pixels."""
    np.sqrt(np.clip(display, 0, 255**2, out=display), out=display)
    if saturation < 1:
        grey = (0.299 * display[0] + 0.587 * display[1] + 0.114 * display[2]) * (1 - saturation)
        display *= saturation
        display += grey
    red, green, blue = display.astype(np.uint32)
    packed = np.empty_like(red)
    packed[order] = red | green << 8 | blue << 16
    return Image.frombytes("RGB", size, packed.astype("<u4").tobytes(), "raw", "RGBX")


def _grain(level: float, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Normal noise of standard deviation `level`, int16."""
    size, start = int(np.prod(shape)), int(rng.random() * GRAINS / 2)
    grain = _grains(level)[start : start + size]
    return (grain if len(grain) == size else np.resize(grain, size)).reshape(shape)


def _halo(image: Image.Image, strength: float) -> np.ndarray:
    """How much the light that spills from the bright parts covers each pixel, up to 128; a little more in red."""
    small = image.reduce(8).convert("L").filter(ImageFilter.GaussianBlur(1.5))
    bright = np.asarray(small, np.float32) / 255
    halo = Image.fromarray((np.square(bright) * (128 * strength)).astype(np.uint8))
    halo = halo.resize(image.size, Image.Resampling.BILINEAR)
    return np.asarray(Image.merge("RGB", [halo, halo.point(WARMTH[0]), halo.point(WARMTH[1])]))


def _blurred(image: np.ndarray, radius: float, axis: int) -> np.ndarray:
    """The mean of `radius` pixels to both sides along an axis of an image of grey values in int16."""
    image = image.swapaxes(0, axis)
    share = 128 / (2 * radius + 1)
    total = image * np.int16(128 - 2 * sum(int(share * min(radius - k, 1)) for k in range(int(np.ceil(radius)))))
    for k in range(int(np.ceil(radius))):
        weighed = image * np.int16(share * min(radius - k, 1))
        total[k + 1 :] += weighed[: -k - 1]
        total[: -k - 1] += weighed[k + 1 :]
        total[: k + 1] += weighed[:1]
        total[-k - 1 :] += weighed[-1:]
    total >>= 7
    return total.swapaxes(0, axis)


def _fall(image: np.ndarray, domain: Domain, rng: np.random.Generator) -> None:
    """Streaks of rain, or flakes, in place: a window of a larger picture of them, perhaps mirrored."""
    height, width, _ = image.shape
    variant, left, top, mirror = (rng.random(4) * (VARIANTS, width, height, 2)).astype(int).tolist()
    opaque = _in_the_air(domain.rain > 0, width, height, variant)[top : top + height, left : left + width]
    _lay_over(image, 215 if domain.rain else 247, opaque[:, ::-1] if mirror else opaque)


def _lay_over(image: np.ndarray, grey: int, opaque: np.ndarray) -> None:
    """Mix a grey value into an image of grey values in int16, in place; `opaque` is 128 where it covers all."""
    over = (np.int16(grey) - image) * opaque
    over >>= 7
    image += over


@cache
def _in_the_air(rain: bool, width: int, height: int, variant: int) -> np.ndarray:
    """How opaque, up to 128, rain or snow makes each pixel of a picture of twice the size, the same in 3 channels."""
    rng = np.random.default_rng([20240303, int(rain), variant])
    mask = Image.new("L", (2 * width, 2 * height))
    draw = ImageDraw.Draw(mask)
    slant = rng.uniform(0.0, 0.25)
    for x, y, near, shade in rng.random((4 * (80 if rain else 130), 4)).tolist():
        x, y, alpha = 2 * x * width, 2 * y * height, int(50 + 70 * shade)
        if rain:
            length = height * (0.03 + 0.10 * near)
            draw.line((x, y, x + slant * length, y + length), fill=alpha)
        else:
            radius = width / 256 * (0.3 + 1.3 * near**3)
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=alpha + 110)
    return np.repeat(np.asarray(mask, np.int16)[..., None] // 2, 3, 2)

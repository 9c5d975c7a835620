"""The options of denoising: ranges, and what each is good for."""

from __future__ import annotations

from dataclasses import dataclass

from sightline.config.schema import Option, require_one_of
from sightline.imaging.transform.options.checks import between, odd


@dataclass
class Median(Option):
    """Replaces each pixel by the median of its square: removes salt-and-pepper noise and keeps edges.

    Source: Tukey, Exploratory Data Analysis, 1977; Gonzalez and Woods, Digital Image Processing, section 5.3.

    Attributes:
        kernel_size: Side of the square in pixels, odd, 3..31.
    """

    kernel_size: int

    def __post_init__(self) -> None:
        odd("kernel_size", self.kernel_size, 3, 31)


@dataclass
class Gaussian(Option):
    """Weighs the neighbours by a normal distribution: removes mild noise of any kind, and blurs edges.

    Source: Gonzalez and Woods, Digital Image Processing, section 3.5.

    Attributes:
        sigma: Standard deviation in pixels, 0.1..20.
    """

    sigma: float

    def __post_init__(self) -> None:
        between("sigma", self.sigma, 0.1, 20)


@dataclass
class Bilateral(Option):
    """Averages neighbours that are near and of like colour: removes mild noise and keeps edges; fast.

    Source: Tomasi and Manduchi, Bilateral filtering for gray and color images, ICCV 1998.

    Attributes:
        diameter: Of the neighbourhood in pixels, odd, 3..25.
        sigma_color: What counts as like, in grey levels, 1..200; about twice the noise's standard deviation.
        sigma_space: What counts as near, in pixels, 0.1..50.
    """

    diameter: int
    sigma_color: float
    sigma_space: float

    def __post_init__(self) -> None:
        odd("diameter", self.diameter, 3, 25)
        between("sigma_color", self.sigma_color, 1, 200)
        between("sigma_space", self.sigma_space, 0.1, 50)


@dataclass
class NonLocalMeans(Option):
    """Averages pixels whose surroundings look alike: the best of these for noise of known strength; slow.

    Source: Buades, Coll and Morel, A non-local algorithm for image denoising, CVPR 2005.

    Attributes:
        strength: Grey levels, 1..100; about 1.2 times the noise's standard deviation.
        patch_size: Side of the surroundings compared, in pixels, odd, 3..15.
        search_size: Side of the window searched, in pixels, odd, 5..41; cost grows with its square.
    """

    strength: float
    patch_size: int
    search_size: int

    def __post_init__(self) -> None:
        between("strength", self.strength, 1, 100)
        odd("patch_size", self.patch_size, 3, 15)
        odd("search_size", self.search_size, 5, 41)


@dataclass
class TotalVariation(Option):
    """Finds the image of least total variation near the given one: flat regions with sharp edges, texture is lost.

    Source: Rudin, Osher and Fatemi, Physica D 60, 1992; solved as in Chambolle, J. Math. Imaging and Vision 20, 2004.

    Attributes:
        weight: Grey levels, 0.1..100; about 0.8 times the noise's standard deviation.
        iterations: Steps of the solver, 1..500.
    """

    weight: float
    iterations: int

    def __post_init__(self) -> None:
        between("weight", self.weight, 0.1, 100)
        between("iterations", self.iterations, 1, 500)


@dataclass
class Wavelet(Option):
    """Shrinks small wavelet coefficients, by thresholds that follow the noise found: fine grain, strength unknown.

    Source: Chang, Yu and Vetterli, Adaptive wavelet thresholding (BayesShrink), IEEE Trans. Image Processing 9, 2000.

    Attributes:
        wavelet: One of "haar", "db2", "sym4", "bior4.4".
        levels: Of the decomposition, 1..6; fewer where the image is too small.
        strength: Multiplies the thresholds, 0.1..5; 1 is the paper's.
    """

    wavelet: str
    levels: int
    strength: float

    def __post_init__(self) -> None:
        require_one_of("wavelet", self.wavelet, ("haar", "db2", "sym4", "bior4.4"))
        between("levels", self.levels, 1, 6)
        between("strength", self.strength, 0.1, 5)


@dataclass
class AutoDenoise(Option):
    """Estimates the noise of each image and removes that much by non-local means: sets of mixed quality.

    Source: Donoho and Johnstone, Ideal spatial adaptation by wavelet shrinkage, Biometrika 81, 1994 (the estimate).

    Attributes:
        min_sigma: Grey levels, 0..50; an image whose noise is estimated below it stays as it is.
        strength: Of the non-local means, as a multiple of the estimated standard deviation, 0.1..5.
        patch_size: See `NonLocalMeans`.
        search_size: See `NonLocalMeans`.
    """

    min_sigma: float
    strength: float
    patch_size: int
    search_size: int

    def __post_init__(self) -> None:
        between("min_sigma", self.min_sigma, 0, 50)
        between("strength", self.strength, 0.1, 5)
        odd("patch_size", self.patch_size, 3, 15)
        odd("search_size", self.search_size, 5, 41)

"""Parameters of the procedural eyes: physical ranges, each drawn uniformly unless its text says otherwise.

There are two kinds of section. The sections of a *person* (geometry, lids, hair, skin, iris, sclera, glasses) are drawn
once for each person. The sections of a *view* (gaze, head, expression, light, placement, optics) are drawn anew for
each image. Image axes: x right, y down. The inner (nose) corner of the eye is at the image left.
"""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError(f"range {bounds} is reversed; write (low, high)")
    return bounds


Range = Annotated[tuple[float, float], AfterValidator(_ordered)]
"""Bounds (low, high) of a value; equal bounds fix it."""


class Section(BaseModel):
    """A group of ranges. Unknown names are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class GeometryRanges(Section):
    """Person: the eyeball and its place behind the lid corners, in the axes of an upright head."""

    eyeball_radius_mm: Range = (11.6, 12.4)
    """Radius of the sclera's sphere."""
    iris_radius_mm: Range = (5.6, 6.1)
    """Radius of the limbus, where the iris ends."""
    eyeball_right_mm: Range = (-0.6, 1.8)
    """Eyeball centre to the right of (outward from) the middle of the two lid corners."""
    eyeball_up_mm: Range = (0.9, 3.3)
    """Eyeball centre above the middle of the two lid corners."""
    eyeball_depth_mm: Range = (1.5, 6.0)
    """Eyeball centre behind the middle of the two lid corners."""
    corner_distance_mm: Range = (26.5, 33.5)
    """Width of the eye: inner to outer lid corner."""
    corner_depth_mm: Range = (1.5, 5.0)
    """Distance of the outer corner behind the inner one."""
    corner_rise_mm: Range = (-2.2, -0.2)
    """Height of the outer corner above the inner one. It is higher on the bone, but appears lower in images."""
    face_tilt_degrees: Range = (3.0, 11.0)
    """Head pitch label of an upright head: MPIIGaze measures the plane of eyes and mouth, which is tilted."""


class LidRanges(Section):
    """Person: lid margins at rest and following the gaze. Angles are elevations seen from the eyeball's centre."""

    upper_elevation_degrees: Range = (14.0, 25.0)
    """Upper margin above the straight-ahead direction, if the eye looks straight ahead (the iris ends at 29)."""
    lower_elevation_degrees: Range = (-32.0, -22.0)
    """Lower margin above the straight-ahead direction; negative is below."""
    upper_follow: Range = (0.75, 1.25)
    """Share of the eyeball's vertical rotation in the head that the upper margin follows."""
    lower_follow: Range = (0.15, 0.5)
    """Share of the same rotation that the lower margin follows."""
    upper_peak: Range = (-0.25, 0.1)
    """Highest point of the upper margin between the corners: -1 inner, 0 middle, 1 outer."""
    lower_peak: Range = (-0.05, 0.3)
    """Lowest point of the lower margin."""
    upper_exponent: Range = (0.6, 0.95)
    """Shape of the upper arc, (1 - t^2) to this power: 0.5 is an ellipse, 1 a parabola."""
    lower_exponent: Range = (0.65, 1.05)
    """Shape of the lower arc."""
    thickness_mm: Range = (0.5, 1.3)
    """Thickness of the lids: the waterline under the eyeball, the dark edge above it."""
    waterline: Range = (0.0, 0.65)
    """Brightness of the wet edge of the lower lid, 0 to 1."""
    crease_distance_mm: Range = (1.5, 5.5)
    """Distance of the upper-lid crease above the margin of the open eye."""
    crease_strength: Range = (0.1, 1.0)
    """Depth of the crease: 0 none (single lid), 1 deep fold."""
    outer_fold_mm: Range = (0.0, 9.0)
    """Length of the fold by which the upper lid overhangs the outer corner."""
    outer_fold_strength: Range = (0.1, 0.7)
    """Depth of the outer fold, 0 to 1."""
    bag_distance_mm: Range = (5.0, 10.0)
    """Distance of the eye bag's furrow below the lower margin."""
    bag_strength: Range = (0.0, 0.6)
    """Depth of the eye bag's furrow, 0 to 1."""


class HairRanges(Section):
    """Person: lashes and brow."""

    darkness: Range = (0.35, 0.95)
    """Darkness of the hair relative to the skin, 0 to 1."""
    lash_length_mm: Range = (3.0, 8.0)
    """Length of the upper lashes; the lower ones are half as long."""
    lash_density: Range = (0.15, 0.9)
    """Share of the light that the roots of the upper lashes absorb, 0 to 1."""
    lash_curl_degrees: Range = (0.0, 35.0)
    """Angle by which the lashes turn up from the direction of the lid."""
    lower_lash_density: Range = (0.0, 0.35)
    """Share of the light that the lower lashes absorb, 0 to 1."""
    brow_height_mm: Range = (14.5, 25.0)
    """Height of the brow above the lid corners."""
    brow_thickness_mm: Range = (4.0, 9.0)
    """Height of the brow where it is thickest."""
    brow_density: Range = (0.3, 0.95)
    """Opacity of the brow, 0 to 1."""
    brow_arch_mm: Range = (0.5, 4.0)
    """Rise of the brow's arch over its ends."""


class SkinRanges(Section):
    """Person: colour, texture and relief of the skin around the eye."""

    luminance: Range = (0.3, 0.7)
    """Reflectance of the skin (display-referred luma), from dark to fair."""
    redness: Range = (0.25, 0.75)
    """Hue of the skin: 0 yellowish, 1 reddish; visible only in colour."""
    mottle: Range = (0.003, 0.025)
    """Contrast (relative standard deviation) of blotches about 4 mm wide."""
    grain: Range = (0.005, 0.04)
    """Contrast (relative standard deviation) of pores and fine wrinkles."""
    dark_circle: Range = (0.0, 0.18)
    """Darkening of the thin skin around the eye."""
    lid_darkness: Range = (0.0, 0.3)
    """Darkening of the upper lid (pigment, make-up)."""
    gloss: Range = (0.0, 0.2)
    """Sheen of oily skin under the direct light."""
    brow_ridge_mm: Range = (0.0, 3.5)
    """Distance by which the brow projects in front of the lid corners."""
    nose_slope: Range = (0.1, 0.8)
    """Steepness of the side of the nose at the left edge of a 37.5 mm wide picture."""
    cheek_slope: Range = (0.2, 0.8)
    """Slope with which the cheek rises below the eye."""
    bulge_mm: Range = (3.0, 10.5)
    """Height by which the eyeball pushes out the skin around the lids."""
    socket_depth_mm: Range = (0.0, 1.5)
    """Depth of the hollow between the eyeball and the brow, deepest towards the nose."""


class IrisRanges(Section):
    """Person: iris and pupil."""

    luminance: Range = (0.04, 0.34)
    """Reflectance of the iris, dark brown to pale blue; third power of a uniform draw, because most irises are dark."""
    fibre_contrast: Range = (0.05, 0.22)
    """Contrast of the radial fibres."""
    limbus_width_mm: Range = (0.4, 1.3)
    """Width of the soft edge between iris and sclera."""
    limbus_darkness: Range = (0.1, 0.6)
    """Darkening of the iris towards its edge."""
    pupil_radius_mm: Range = (1.2, 3.0)
    """Apparent radius of the pupil, as seen through the cornea."""


class ScleraRanges(Section):
    """Person: the sclera, the grey-white part of the eye."""

    luminance: Range = (0.45, 0.85)
    """Reflectance of the sclera."""
    redness: Range = (0.0, 0.4)
    """Strength of the red tint and contrast of the veins, 0 to 1."""
    corner_shade: Range = (0.2, 0.65)
    """Darkening towards the lid corners."""


class GlassesRanges(Section):
    """Person: spectacles."""

    probability: float = Field(default=0.06, ge=0.0, le=1.0)
    """Share of people who wear glasses."""
    height_mm: Range = (22.0, 36.0)
    """Height of a lens."""
    width_mm: Range = (40.0, 52.0)
    """Width of a lens."""
    rim_mm: Range = (0.5, 2.5)
    """Thickness of the rim."""
    glare: Range = (0.0, 0.35)
    """Brightness of the reflection on the lens."""


class GazeRanges(Section):
    """View: direction of the eyeball's optical axis in camera axes.

    Positive pitch looks up, positive yaw to the image's left.
    """

    pitch_degrees: Range = (-20.0, 11.0)
    """Vertical gaze; negative if the person looks at a screen below the camera."""
    yaw_degrees: Range = (-21.0, 21.0)
    """Horizontal gaze."""


class HeadRanges(Section):
    """View: direction of the head in camera axes, in MPIIGaze's angles.

    The signs are those of the gaze: positive pitch lifts the face, positive yaw turns it to the image's left.
    """

    pitch_degrees: Range = (-15.0, 30.0)
    """Upward rotation of the face; moved towards the gaze after the draw until ``eye_pitch_limit_degrees`` holds."""
    yaw_degrees: Range = (-28.0, 28.0)
    """Rotation of the face to the image's left; ``eye_yaw_limit_degrees`` applies in the same way."""
    eye_pitch_limit_degrees: float = Field(default=22.0, gt=0.0)
    """Largest rotation of the eye up or down inside the head; beyond it people move the head."""
    eye_yaw_limit_degrees: float = Field(default=35.0, gt=0.0)
    """Largest sideways rotation of the eye inside the head."""


class ExpressionRanges(Section):
    """View: lid movements that are independent of the gaze."""

    upper_change_degrees: Range = (-4.5, 2.0)
    """Change of the upper lid's elevation: below 0 tired or starting to blink, above 0 surprised."""
    lower_change_degrees: Range = (-2.0, 2.5)
    """Change of the lower lid's elevation: above 0 a smile or a squint."""


class LightRanges(Section):
    """View: a directional light, ambient light, and reflections on the cornea."""

    elevation_degrees: Range = (-5.0, 75.0)
    """Elevation of the light: 0 is level with the eye, 90 overhead."""
    azimuth_degrees: Range = (-85.0, 85.0)
    """Azimuth of the light; positive comes from the image's right."""
    direct: Range = (0.15, 1.0)
    """Strength of the directional light. Skin that faces it reflects luminance x (ambient + direct)."""
    ambient: Range = (0.3, 0.65)
    """Strength of the ambient light."""
    warmth: Range = (-0.07, 0.15)
    """Colour cast: below 0 bluish, above 0 orange; visible only in colour."""
    lid_shadow: Range = (0.2, 0.7)
    """Darkness of the upper lid's shadow on the eyeball."""
    lid_shadow_mm: Range = (1.5, 5.0)
    """Length of the upper lid's shadow; below it, light falls on the sclera."""
    highlight: Range = (0.0, 0.8)
    """Brightness of the light's reflection on the cornea."""
    screen_highlight: Range = (0.0, 0.45)
    """Brightness of a second, larger reflection of a screen or window."""
    screen_right_degrees: Range = (-25.0, 25.0)
    """Direction of the screen or window, to the image's right."""
    screen_down_degrees: Range = (-30.0, 25.0)
    """Direction of the screen or window, below the camera."""


class PlacementRanges(Section):
    """View: errors of the normalisation that centres the patch on estimated lid corners."""

    right_mm: Range = (-1.5, 1.5)
    """Shift of the eye to the right."""
    down_mm: Range = (0.8, 2.2)
    """Shift of the eye downwards, because detectors place the corners too high."""
    follow_right: Range = (0.0, 0.4)
    """Share of the iris' sideways movement that the patch follows: landmark detectors are biased to the iris."""
    follow_down: Range = (0.1, 1.0)
    """Share of the iris' vertical movement that the patch follows; the lids and their landmarks move with it."""
    scale: Range = (0.95, 1.2)
    """Magnification, because the face model's distance differs from the true one."""


class OpticsRanges(Section):
    """View: a mild camera model that every render goes through."""

    blur_mm: Range = (0.15, 0.6)
    """Standard deviation of the blur in the plane of the eye (0.625 mm is one pixel of a 36x60 patch)."""
    exposure: Range = (0.75, 1.2)
    """Factor on all brightness."""
    contrast: Range = (0.8, 1.15)
    """Factor on the distance from mid grey."""


class EyeParameters(BaseModel):
    """All ranges of the eyes. The defaults cover laptop cameras and a general population."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    images_per_person: int = Field(default=20, ge=1)
    """Views of one person. Image i shows person i // images_per_person."""
    geometry: GeometryRanges = GeometryRanges()
    """Person: eyeball and lid corners."""
    lids: LidRanges = LidRanges()
    """Person: lid margins, crease and eye bag."""
    hair: HairRanges = HairRanges()
    """Person: lashes and brow."""
    skin: SkinRanges = SkinRanges()
    """Person: skin."""
    iris: IrisRanges = IrisRanges()
    """Person: iris and pupil."""
    sclera: ScleraRanges = ScleraRanges()
    """Person: sclera."""
    glasses: GlassesRanges = GlassesRanges()
    """Person: spectacles."""
    gaze: GazeRanges = GazeRanges()
    """View: gaze."""
    head: HeadRanges = HeadRanges()
    """View: head pose."""
    expression: ExpressionRanges = ExpressionRanges()
    """View: lid movements independent of the gaze."""
    light: LightRanges = LightRanges()
    """View: light."""
    placement: PlacementRanges = PlacementRanges()
    """View: position of the eye in the patch."""
    optics: OpticsRanges = OpticsRanges()
    """View: camera."""

"""The parameters of the procedural eyes: physical ranges, one uniform draw per range unless its text says otherwise.

Two kinds of section. Those of a *person* (geometry, lids, hair, skin, iris, sclera, glasses) are drawn once for a
person and stay; those of a *view* (gaze, head, expression, light, placement, optics) are drawn anew for each image.
Image axes: x right, y down. The inner (nose) corner of the eye is at the image left.
"""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError(f"range {bounds} is reversed; write (low, high)")
    return bounds


Range = Annotated[tuple[float, float], AfterValidator(_ordered)]
"""(low, high); equal ends fix the value."""


class Section(BaseModel):
    """A group of ranges; unknown names are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class GeometryRanges(Section):
    """Person: the eyeball and where it sits behind the lid corners, in the axes of a head held upright."""

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
    """How much farther back the outer corner lies than the inner one."""
    corner_rise_mm: Range = (-2.2, -0.2)
    """How much higher the outer corner lies than the inner one. Bones say higher; what is seen of it, lower."""
    face_tilt_degrees: Range = (3.0, 11.0)
    """Head pitch label of an upright head: MPIIGaze measures the plane of eyes and mouth, and the mouth is forward."""


class LidRanges(Section):
    """Person: lid margins, at rest and following the gaze. Angles are elevations seen from the eyeball's centre."""

    upper_elevation_degrees: Range = (14.0, 25.0)
    """Upper margin above the straight-ahead direction, eye looking straight out of the head (the iris ends at 29)."""
    lower_elevation_degrees: Range = (-32.0, -22.0)
    """Lower margin, the same way."""
    upper_follow: Range = (0.75, 1.25)
    """Share of the eyeball's vertical rotation in the head that the upper margin follows."""
    lower_follow: Range = (0.15, 0.5)
    """The same for the lower margin."""
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
    """How bright and wet the lower lid's edge is, 0 to 1."""
    crease_distance_mm: Range = (1.5, 5.5)
    """Upper-lid crease above the margin, eye open."""
    crease_strength: Range = (0.1, 1.0)
    """Depth of the crease: 0 none (single lid), 1 deep fold."""
    outer_fold_mm: Range = (0.0, 9.0)
    """How far the upper lid's line runs on beyond the outer corner, where the lid hangs over it."""
    outer_fold_strength: Range = (0.1, 0.7)
    """Depth of that fold, 0 to 1."""
    bag_distance_mm: Range = (5.0, 10.0)
    """Furrow of the eye bag below the lower margin."""
    bag_strength: Range = (0.0, 0.6)
    """Depth of that furrow, 0 to 1."""


class HairRanges(Section):
    """Person: lashes and brow."""

    darkness: Range = (0.35, 0.95)
    """How dark hair is against the skin, 0 to 1."""
    lash_length_mm: Range = (3.0, 8.0)
    """Length of the upper lashes; the lower ones are half as long."""
    lash_density: Range = (0.15, 0.9)
    """Share of light the upper lashes' roots take, 0 to 1."""
    lash_curl_degrees: Range = (0.0, 35.0)
    """How far the lashes turn up from the direction of the lid."""
    lower_lash_density: Range = (0.0, 0.35)
    """The same as ``lash_density`` for the lower lashes."""
    brow_height_mm: Range = (14.5, 25.0)
    """Brow above the lid corners."""
    brow_thickness_mm: Range = (4.0, 9.0)
    """Height of the brow where it is thickest."""
    brow_density: Range = (0.3, 0.95)
    """Opacity of the brow, 0 to 1."""
    brow_arch_mm: Range = (0.5, 4.0)
    """Rise of the brow's arch over its ends."""


class SkinRanges(Section):
    """Person: colour, texture and relief of the skin round the eye."""

    luminance: Range = (0.3, 0.7)
    """Reflectance (display-referred luma), from dark to fair skin."""
    redness: Range = (0.25, 0.75)
    """0 yellowish, 1 reddish; seen in colour only."""
    mottle: Range = (0.003, 0.025)
    """Contrast (standard deviation, relative) of blotches some 4 mm wide."""
    grain: Range = (0.005, 0.04)
    """Contrast of pores and fine wrinkles."""
    dark_circle: Range = (0.0, 0.18)
    """Darkening of the thin skin round the eye."""
    lid_darkness: Range = (0.0, 0.3)
    """Darkening of the upper lid (pigment, make-up)."""
    gloss: Range = (0.0, 0.2)
    """Sheen of oily skin under the direct light."""
    brow_ridge_mm: Range = (0.0, 3.5)
    """How far the brow stands out before the lid corners."""
    nose_slope: Range = (0.1, 0.8)
    """Steepness of the side of the nose at the left edge of a 37.5 mm wide picture."""
    cheek_slope: Range = (0.2, 0.8)
    """How steeply the cheek comes forward below the eye."""
    bulge_mm: Range = (3.0, 10.5)
    """How far the eyeball pushes out the skin round the lids."""
    socket_depth_mm: Range = (0.0, 1.5)
    """Depth of the hollow between the eyeball and the brow, deepest towards the nose."""


class IrisRanges(Section):
    """Person: iris and pupil."""

    luminance: Range = (0.04, 0.34)
    """Reflectance of the iris, dark brown to pale blue; third power of a uniform draw, since most irises are dark."""
    fibre_contrast: Range = (0.05, 0.22)
    """Contrast of the radial fibres."""
    limbus_width_mm: Range = (0.4, 1.3)
    """Width of the soft edge between iris and sclera."""
    limbus_darkness: Range = (0.1, 0.6)
    """Darkening of the iris towards its edge."""
    pupil_radius_mm: Range = (1.2, 3.0)
    """Radius of the pupil as seen through the cornea."""


class ScleraRanges(Section):
    """Person: the white of the eye, which is grey."""

    luminance: Range = (0.45, 0.85)
    """Reflectance."""
    redness: Range = (0.0, 0.4)
    """Red tint and vein contrast."""
    corner_shade: Range = (0.2, 0.65)
    """Darkening towards the lid corners."""


class GlassesRanges(Section):
    """Person: spectacles."""

    probability: float = Field(default=0.06, ge=0.0, le=1.0)
    """Share of people who wear them."""
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
    """Vertical gaze; negative for a camera above the screen that is looked at."""
    yaw_degrees: Range = (-21.0, 21.0)
    """Horizontal gaze."""


class HeadRanges(Section):
    """View: direction of the head in camera axes, MPIIGaze's angles.

    Signs as for gaze: positive pitch lifts the face, positive yaw turns it to the image's left.
    """

    pitch_degrees: Range = (-15.0, 30.0)
    """Rotation of the face up; drawn evenly, then moved towards the gaze by what the next limit demands."""
    yaw_degrees: Range = (-28.0, 28.0)
    """Rotation of the face to the image's left; the same way."""
    eye_pitch_limit_degrees: float = Field(default=22.0, gt=0.0)
    """The eye turns no farther up or down inside the head: people move the head instead."""
    eye_yaw_limit_degrees: float = Field(default=35.0, gt=0.0)
    """The eye turns no farther sideways inside the head."""


class ExpressionRanges(Section):
    """View: lid movements that have nothing to do with gaze."""

    upper_change_degrees: Range = (-4.5, 2.0)
    """Added to the upper lid's elevation: tired or beginning to blink below 0, surprised above."""
    lower_change_degrees: Range = (-2.0, 2.5)
    """Added to the lower lid's elevation: above 0 a smile or a squint."""


class LightRanges(Section):
    """View: one directional light, ambient light, reflections on the cornea."""

    elevation_degrees: Range = (-5.0, 75.0)
    """Height of the light: 0 level with the eye, 90 overhead."""
    azimuth_degrees: Range = (-85.0, 85.0)
    """Side of the light: positive from the image's right."""
    direct: Range = (0.15, 1.0)
    """Strength of the directional light; skin that faces it reflects luminance x (ambient + direct)."""
    ambient: Range = (0.3, 0.65)
    """Strength of the ambient light."""
    warmth: Range = (-0.07, 0.15)
    """Colour cast: below 0 bluish, above 0 orange; seen in colour only."""
    lid_shadow: Range = (0.2, 0.7)
    """Darkness of the upper lid's shadow on the eyeball."""
    lid_shadow_mm: Range = (1.5, 5.0)
    """How far down that shadow reaches: a raised lid lets light fall on the lower sclera."""
    highlight: Range = (0.0, 0.8)
    """Brightness of the light's reflection on the cornea."""
    screen_highlight: Range = (0.0, 0.45)
    """Brightness of a second, larger reflection: the screen or a window."""
    screen_right_degrees: Range = (-25.0, 25.0)
    """Direction of the screen or window, to the image's right."""
    screen_down_degrees: Range = (-30.0, 25.0)
    """Direction of the screen or window, below the camera."""


class PlacementRanges(Section):
    """View: errors of the normalisation, which centres the patch on estimated lid corners."""

    right_mm: Range = (-1.5, 1.5)
    """Shift of the eye to the right."""
    down_mm: Range = (0.8, 2.2)
    """Shift of the eye downwards: detectors put the corners too high."""
    follow_right: Range = (0.0, 0.4)
    """Share of the iris' sideways movement that the patch goes along with: landmark detectors are drawn to the iris."""
    follow_down: Range = (0.1, 1.0)
    """The same for its vertical movement, which the lids, where the landmarks lie, share."""
    scale: Range = (0.95, 1.2)
    """Magnification: the face model's distance is not the true one."""


class OpticsRanges(Section):
    """View: a mild camera, part of every render."""

    blur_mm: Range = (0.15, 0.6)
    """Standard deviation of the blur in the eye's plane (0.625 mm is a pixel of a 36x60 patch)."""
    exposure: Range = (0.75, 1.2)
    """Factor on all brightness."""
    contrast: Range = (0.8, 1.15)
    """Factor on the distance from mid grey."""


class EyeParameters(BaseModel):
    """Everything that the eyes are drawn from. The defaults cover laptop-camera patches and general users."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    images_per_person: int = Field(default=20, ge=1)
    """Views of one person: image i shows person i // images_per_person."""
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
    """Person: white of the eye."""
    glasses: GlassesRanges = GlassesRanges()
    """Person: spectacles."""
    gaze: GazeRanges = GazeRanges()
    """View: gaze."""
    head: HeadRanges = HeadRanges()
    """View: head pose."""
    expression: ExpressionRanges = ExpressionRanges()
    """View: lid movements apart from gaze."""
    light: LightRanges = LightRanges()
    """View: light."""
    placement: PlacementRanges = PlacementRanges()
    """View: patch against eye."""
    optics: OpticsRanges = OpticsRanges()
    """View: camera."""

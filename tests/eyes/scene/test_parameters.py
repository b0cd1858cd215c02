"""Ranges are checked when they are written."""

import pydantic
import pytest

from refiner.eyes.scene.parameters import EyeParameters
from refiner.eyes.scene.sampling import PERSON_SECTIONS, VIEW_SECTIONS
from refiner.eyes.target_camera import target_parameters


def test_unknown_names_and_reversed_ranges_are_errors():
    with pytest.raises(pydantic.ValidationError, match="eyeball_diameter_mm"):
        EyeParameters.model_validate({"geometry": {"eyeball_diameter_mm": (23, 25)}})
    with pytest.raises(pydantic.ValidationError, match="reversed"):
        EyeParameters.model_validate({"gaze": {"pitch_degrees": (5, -20)}})
    with pytest.raises(pydantic.ValidationError, match="images_per_person"):
        EyeParameters(images_per_person=0)


def test_every_field_is_documented_and_drawn():
    sections = {*PERSON_SECTIONS, *VIEW_SECTIONS}
    assert sections == set(EyeParameters.model_fields) - {"images_per_person"}
    for name in sections:
        for field, info in type(getattr(EyeParameters(), name)).model_fields.items():
            assert info.description, f"{name}.{field}"
    assert len(sections) == len(PERSON_SECTIONS) + len(VIEW_SECTIONS)


def test_parameters_travel_through_json():
    parameters = target_parameters()
    assert EyeParameters.model_validate_json(parameters.model_dump_json()) == parameters


def test_target_people_are_others_but_overlap():
    usual, other = EyeParameters().model_dump(), target_parameters().model_dump()
    shifted = [
        (section, field)
        for section in PERSON_SECTIONS
        for field, bounds in usual[section].items()
        if other[section][field] != bounds
    ]
    assert len(shifted) >= 15
    for section, field in shifted:
        (low, high), (other_low, other_high) = usual[section][field], other[section][field]
        assert max(low, other_low) < min(high, other_high), f"{section}.{field} has no common values"

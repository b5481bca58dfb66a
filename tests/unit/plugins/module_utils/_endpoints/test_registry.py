# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every driver implements the whole contract: nothing of it is inherited, and no setting has a silent default."""

from __future__ import annotations

import dataclasses
import functools
import inspect

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core import names
from ansible_collections.esync.mesh.plugins.module_utils._endpoints import contract, in_force
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.contract import Endpoint
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.registry import ENDPOINTS

METHODS = sorted(Endpoint.__abstractmethods__)
FIELDS = sorted(Endpoint.__annotations__)


def test_the_contract():
    assert METHODS == ["configure", "observe", "reload", "remove", "render", "restart", "served", "undo", "validate"]
    assert FIELDS == ["is_resident", "name", "product", "remedy"]
    assert list(ENDPOINTS) == list(names.ENDPOINTS)


@pytest.mark.parametrize("key", ENDPOINTS)
def test_a_driver_implements_all_of_it(key):
    driver = ENDPOINTS[key]
    assert set(METHODS) <= set(vars(driver)), "a method is inherited"
    assert set(FIELDS) <= set(vars(driver)), "a field is inherited"
    for method in METHODS:
        assert inspect.signature(getattr(driver, method)) == inspect.signature(getattr(Endpoint, method)), method
    assert driver.name == key
    assert isinstance(driver.is_resident, bool)
    assert driver.remedy


@pytest.mark.parametrize("key", ENDPOINTS)
def test_a_driver_file_holds_one_driver(key):
    module = inspect.getmodule(ENDPOINTS[key])
    drivers = [one for one in vars(module).values() if inspect.isclass(one) and issubclass(one, Endpoint)]
    assert [one for one in drivers if one is not Endpoint] == [ENDPOINTS[key]]
    assert module.__name__.endswith(f"._endpoints.{key}")


@pytest.mark.parametrize(
    "kind",
    [contract.EndpointSettings, contract.Site, contract.Product, contract.Observed, in_force.InForce],
    ids=lambda kind: kind.__name__,
)
def test_no_field_has_a_default(kind):
    fields = dataclasses.fields(kind)
    assert fields
    for field in fields:
        assert field.default is dataclasses.MISSING, field.name
        assert field.default_factory is dataclasses.MISSING, field.name
    assert kind.__dataclass_params__.frozen


def test_what_misses_a_part_of_the_contract_cannot_be_made():
    for method in METHODS:
        parts = {name: vars(ENDPOINTS["temporary"])[name] for name in METHODS if name != method}
        with pytest.raises(TypeError, match=method):
            functools.partial(type("Partial", (Endpoint,), parts), None)()

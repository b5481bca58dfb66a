# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one way from AnsibleModule into the core and back, with nothing secret on any path."""

from __future__ import annotations

from typing import Any, Callable, Dict, Mapping

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError, unexpected
from ansible_collections.esync.mesh.plugins.module_utils._core.user import refuse_other_user
from ansible_collections.esync.mesh.plugins.module_utils._steps.context import SERVER, SITE, Context

__all__ = ["SERVER", "SITE", "run", "run_module"]


def run_module(
    spec: Dict[str, Any], step: Callable[[Mapping[str, Any], Context], Dict[str, Any]], any_user: bool = False
) -> None:
    """Run one step as a module: options in, its result or one well-formed failure out.

    :param spec: the step's options. :param step: does it, and returns the result.
    :param any_user: whether it has something to say to users who may not read the keys.
    """

    def action(module: AnsibleModule) -> Dict[str, Any]:
        if module.params.get("directory") and not any_user:
            refuse_other_user(module.params["directory"], module.params["name"])
        return step(module.params, Context(module.check_mode, module._diff, module.warn))

    run(spec, action)


def run(
    argument_spec: Dict[str, Any],
    action: Callable[[AnsibleModule], Dict[str, Any]],
    **options: Any,
) -> None:
    """Run a module: options in, results or one well-formed failure out.

    :param argument_spec: the module's options.
    :param action: called with the module; returns the results.
    :param options: further arguments of AnsibleModule, such as ``required_if``.
    """
    module = AnsibleModule(argument_spec=argument_spec, supports_check_mode=True, **options)
    failure: Dict[str, Any] = {}
    result: Dict[str, Any] = {}
    try:
        result = action(module)
    except EsyncError as error:
        failure = error.to_result()
    except Exception as error:
        # The text of an unexpected exception can hold key material, and no_log would not catch it.
        failure = {"msg": unexpected(error), "error": {"kind": "unexpected"}}
    # Only here, because inside an except clause fail_json adds that exception's text where tracebacks are displayed.
    if failure:
        module.fail_json(**failure)
    module.exit_json(**result)

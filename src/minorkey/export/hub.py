"""Upload to a model hub, on request only."""

from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from minorkey.errors import ConfigError, StorageError


def check_repo_id(repo_id: str) -> None:
    """Raise `ConfigError` unless `repo_id` reads like user/name."""
    try:
        validate_repo_id(repo_id)
        valid = repo_id.count("/") == 1
    except HFValidationError:
        valid = False
    if not valid:
        raise ConfigError(f"'{repo_id}' is no repository of a hub; expected user/name, such as --push-to me/my-model")


def push(folder: Path, repo_id: str) -> None:
    """Upload an export as a model repository; one that does not exist yet is created, private.

    Raises:
        StorageError: no network, no login, or no right to write there.
    """
    api = HfApi()
    try:
        api.create_repo(repo_id, private=True, exist_ok=True)
        api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message="Written by minorkey export")
    except Exception as error:  # the hub's client also raises what its HTTP library does, and that one changes
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise StorageError(
            f"'{folder}' is written, but could not be uploaded to '{repo_id}' ({reason}); check the network and "
            f"`hf auth login`, then `hf upload {repo_id} {folder}`"
        ) from error

"""What people type."""

from camber import AppError


def cleaned(text: str, *, what: str, at_most: int) -> str:
    """Return the text without the space around it, or raise an error that the page can show."""
    text = text.strip()
    if not text:
        raise AppError({"code": "EMPTY", "message": f"{what} is empty."})
    if len(text) > at_most:
        raise AppError(
            {"code": "TOO_LONG", "message": f"{what} has more than {at_most} characters."}
        )
    return text

"""Configuration of a study of a few images, to be drawn by the test that uses it."""


def tiny_study(run: str) -> dict:
    """Country folders in world/ as the only street images, photographs in bench/ with their places
    in t.csv."""
    return {
        "run": run,
        "sources": {
            "geoguessr": {"path": "world", "images": ".", "retrieve": None},
            "streetview": None,
        },
        "test_sets": {
            "im2gps3k": {
                "path": "bench",
                "images": ".",
                "table": "t.csv",
                "file_column": "file",
                "latitude_column": "latitude",
                "longitude_column": "longitude",
                "author_column": None,
                "retrieve": None,
            }
        },
    }

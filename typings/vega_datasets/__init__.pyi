# Delete this stub when vega_datasets ships a py.typed marker (0.9.0 does not) or types-vega-datasets exists.
#
# It has what the examples use: the files that come with the package, without loading them into pandas.

class Dataset:
    name: str
    is_local: bool

    @property
    def filepath(self) -> str: ...
    def raw(self, use_local: bool = True) -> bytes: ...

class DataLoader:
    def list_datasets(self) -> list[str]: ...
    def __getattr__(self, dataset_name: str) -> Dataset: ...

class LocalDataLoader(DataLoader): ...

data: DataLoader
local_data: LocalDataLoader

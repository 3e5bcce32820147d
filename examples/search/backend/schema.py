from camber import Index, SearchIndex, Table


class Recipe(Table, table="recipes"):
    title: str
    cuisine: str
    steps: str

    by_cuisine = Index("cuisine")
    # "creme" finds "Crème", and "豆腐" what is written without spaces.
    search_title = SearchIndex("title", filter_fields=["cuisine"], tokenizer="multilingual")
    search_steps = SearchIndex("steps", filter_fields=["cuisine"])

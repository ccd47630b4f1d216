"""What effects have spent: tokens and money, in the journal's database, and its ceilings."""

"""The panel: sections that show a study and pass on what a person does; every decision is made elsewhere."""

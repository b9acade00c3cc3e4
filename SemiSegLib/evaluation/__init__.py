"""From predictions and what references know to scores, statistics over cases, tables and a report."""

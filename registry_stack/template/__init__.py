"""The template layer: reads the Heat template and renders from it exactly what Heat would."""

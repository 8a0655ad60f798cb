"""Instruments from `config/instruments.yaml`: every product with its dated rows, as the domain's book."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, time
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from arbig.domain.fees import FeeSchedule
from arbig.domain.instruments import EVERY_MONTH, InstrumentBook, LastDayRule, Listing, ProductRow
from arbig.domain.messages import Exchange
from arbig.runtime.calendar import load_calendar
from arbig.runtime.files import Config, load_yaml_model
from arbig.runtime.settings import Settings

Month = Field(ge=1, le=12)


class FeesConfig(Config):
    by_lot: float = Field(0.0, ge=0, examples=[10])
    by_rate: float = Field(0.0, ge=0, lt=0.1, examples=[0.0001])
    close_today_by_lot: float = Field(0.0, ge=0, examples=[0])
    close_today_by_rate: float = Field(0.0, ge=0, lt=0.1, examples=[0.0001])

    def schedule(self) -> FeeSchedule:
        return FeeSchedule(
            open_by_lot=self.by_lot,
            open_by_rate=self.by_rate,
            close_by_lot=self.by_lot,
            close_by_rate=self.by_rate,
            close_today_by_lot=self.close_today_by_lot,
            close_today_by_rate=self.close_today_by_rate,
        )


class ListingConfig(Config):
    months: list[int] = Field(default=list(EVERY_MONTH), min_length=1, examples=[[1, 5, 9]])
    near: int = Field(default=12, ge=1)
    far_months: list[int] = Field(default=[], examples=[[2, 4, 6, 8, 10, 12]])
    within: int = Field(default=12, ge=1, le=36)
    last_day: LastDayRule = "fifteenth"
    main_months: list[int] = Field(default=list(EVERY_MONTH), min_length=1, examples=[[2, 4, 6, 8, 10, 12]])
    roll_days: int = Field(default=15, ge=0, le=90)

    @field_validator("months", "far_months", "main_months")
    @classmethod
    def _are_months(cls, months: list[int]) -> list[int]:
        wrong = [month for month in months if not 1 <= month <= 12]
        if wrong:
            raise ValueError(f"found month {wrong[0]}, expected 1..12; write e.g. [1, 5, 9]")
        return months

    def listing(self) -> Listing:
        return Listing(
            months=tuple(self.months),
            near=self.near,
            far_months=tuple(self.far_months),
            within=self.within,
            last_day=self.last_day,
            main_months=tuple(self.main_months),
            roll_days=self.roll_days,
        )


class RowConfig(Config):
    valid_from: date = Field(alias="from", examples=["2025-06-10"])
    size: float = Field(gt=0, examples=[1000])
    price_tick: float = Field(gt=0, examples=[0.02])
    night_close: time | None = Field(examples=["02:30"])
    position_date_type: Literal["1", "2"]
    max_order_volume: int = Field(ge=1, examples=[500])
    margin_rate: float = Field(gt=0, le=1, examples=[0.1])
    fees: FeesConfig = Field(examples=[{"by_lot": 10, "close_today_by_lot": 0}])


class ProductConfig(Config):
    exchange: Exchange = Field(examples=["SHFE"])
    name: str = Field(min_length=1, examples=["黄金"])
    english_name: str = Field(min_length=1, examples=["Gold"])
    listing: ListingConfig = ListingConfig()
    rows: list[RowConfig] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _rows_repeat_what_stays(cls, values: Any) -> Any:
        """A later row says only what changes; the rest comes from the row before."""
        if not isinstance(values, dict) or not isinstance(values.get("rows"), list):
            return values
        whole: list[Any] = []
        for row in values["rows"]:
            whole.append(
                {**whole[-1], **row} if whole and isinstance(row, dict) and isinstance(whole[-1], dict) else row
            )
        return {**values, "rows": whole}

    @field_validator("rows")
    @classmethod
    def _in_order(cls, rows: list[RowConfig]) -> list[RowConfig]:
        dates = [row.valid_from for row in rows]
        if dates != sorted(set(dates)):
            raise ValueError(f"found from-dates {', '.join(map(str, dates))}, expected each later than the one before")
        return rows


class InstrumentsConfig(Config):
    products: dict[str, ProductConfig] = Field(min_length=1, examples=[{}])

    @field_validator("products")
    @classmethod
    def _lower_case(cls, products: dict[str, ProductConfig], info: ValidationInfo) -> dict[str, ProductConfig]:
        for name in products:
            if not (name.isalpha() and name.isascii() and name.islower()):
                raise ValueError(f"found product {name!r}, expected lower-case letters; write e.g. {name.lower()}:")
        return products


def load_instruments(settings: Settings) -> InstrumentBook:
    """The book of `config/instruments.yaml`. Raises SettingsError, one line."""
    config = load_yaml_model(settings.config / "instruments.yaml", InstrumentsConfig)
    return InstrumentBook.from_rows(_rows(config), load_calendar(settings))


def _rows(config: InstrumentsConfig) -> Iterator[ProductRow]:
    for product, found in config.products.items():
        for row in found.rows:
            yield ProductRow(
                product=product,
                exchange=found.exchange,
                name=found.name,
                english_name=found.english_name,
                valid_from=row.valid_from,
                size=row.size,
                price_tick=row.price_tick,
                night_close=row.night_close,
                position_date_type=row.position_date_type,
                max_order_volume=row.max_order_volume,
                fees=row.fees.schedule(),
                margin_rate=row.margin_rate,
                listing=found.listing.listing(),
            )
